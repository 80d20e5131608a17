from django.urls import path

from relay.statistics import rest

urlpatterns = [path("statistics", rest.StatisticsView.as_view(), name="api_statistics")]
