"""The contact form."""

from django import forms
from django.core.validators import RegexValidator

one_line = RegexValidator(r"[\r\n]", "Write this on one line.", inverse_match=True)


class ContactForm(forms.Form):
    name = forms.CharField(max_length=100, validators=[one_line])
    email = forms.EmailField(label="E-mail address")
    subject = forms.CharField(max_length=200, validators=[one_line])
    text = forms.CharField(max_length=10_000, widget=forms.Textarea)
