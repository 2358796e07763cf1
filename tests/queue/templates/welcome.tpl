{% extends "mail_templated/base.tpl" %}
{% block subject %}Welcome, {{ user.username }}{% endblock %}
{% block body %}Good to have you, {{ user.username }}.{% endblock %}
{% block html %}<p>Good to have you, {{ user.username }}.</p>{% endblock %}
