from django.urls import path

from relay.webhooks import views

_ONE = "webhooks/<uuid:endpoint_id>/"
_DELIVERY = "webhooks/deliveries/<uuid:webhook_delivery_id>/"

urlpatterns = [
    path("webhooks/", views.webhook_list, name="webhooks"),
    path("webhooks/create/", views.webhook_create, name="webhook_create"),
    path(_DELIVERY, views.webhook_delivery, name="webhook_delivery"),
    path(f"{_DELIVERY}replay/", views.webhook_delivery_replay, name="webhook_delivery_replay"),
    path(_ONE, views.webhook_page, name="webhook"),
    path(f"{_ONE}change/", views.webhook_change, name="webhook_change"),
    path(f"{_ONE}test/", views.webhook_test, name="webhook_test"),
    path(f"{_ONE}replay/", views.webhook_replay, name="webhook_replay"),
    path(f"{_ONE}rotate/", views.webhook_rotate, name="webhook_rotate"),
    path(f"{_ONE}enable/", views.webhook_enable, name="webhook_enable"),
    path(f"{_ONE}disable/", views.webhook_disable, name="webhook_disable"),
    path(f"{_ONE}remove/", views.webhook_remove, name="webhook_remove"),
]
