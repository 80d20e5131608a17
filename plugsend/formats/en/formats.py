"""As the product's own pages tell times, which are UTC."""

DATETIME_FORMAT = "j M Y, H:i"
DATE_FORMAT = "j M Y"
