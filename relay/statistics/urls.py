from django.urls import path

from relay.statistics import views

urlpatterns = [path("statistics/", views.statistics_page, name="statistics")]
