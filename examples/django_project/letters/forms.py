"""The contact form."""

from django import forms
from django.core.validators import RegexValidator, validate_email
from django.utils.encoding import punycode

# Not only \r and \n: these characters, too, end a line for Python's email package.
one_line = RegexValidator(
    "[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]", "Write this on one line.", inverse_match=True
)


class ContactForm(forms.Form):
    name = forms.CharField(max_length=100, validators=[one_line])
    email = forms.EmailField(label="E-mail address", validators=[one_line])
    subject = forms.CharField(max_length=200, validators=[one_line])
    text = forms.CharField(max_length=10_000, widget=forms.Textarea)

    def clean_email(self):
        """Spell the domain as mail servers do: bücher.example is xn--bcher-kva.example there."""
        user, _, domain = self.cleaned_data["email"].rpartition("@")
        try:
            address = f"{user}@{punycode(domain)}"
        except UnicodeError:
            address = ""
        validate_email(address)
        return address
