from django.urls import path

from relay.numbers import views

urlpatterns = [path("numbers/", views.numbers_page, name="numbers")]
