"""The pages of the site."""

from django.urls import path
from letters import views

urlpatterns = [
    path("", views.contact, name="contact"),
    path("thanks/", views.thanks, name="thanks"),
]
