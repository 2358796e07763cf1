"""The contact form, and the page that thanks for it."""

from smtplib import SMTPException

from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from .forms import ContactForm
from .mail import contact_message


@require_http_methods(["GET", "HEAD", "POST"])
def contact(request):
    form = ContactForm(request.POST or None)
    status = 200
    if form.is_valid():
        try:
            contact_message(**form.cleaned_data).send()
        except SMTPException:
            # The queue can't take it: the visitor must know, and keeps what was written.
            form.add_error(None, "We can't take your message just now. Please try again later.")
            status = 503
        else:
            return redirect("thanks")
    return render(request, "letters/contact.html", {"form": form}, status=status)


@require_safe
def thanks(request):
    return render(request, "letters/thanks.html")
