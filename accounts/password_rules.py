"""What a password must be, and what is said of one that is not."""

from django.contrib.auth.password_validation import (
    CommonPasswordValidator,
    MinimumLengthValidator,
    NumericPasswordValidator,
    UserAttributeSimilarityValidator,
)


class LongEnough(MinimumLengthValidator):
    def __init__(self) -> None:
        super().__init__(min_length=10)

    def get_error_message(self) -> str:
        return f"This password is too short. Take at least {self.min_length} characters: some words in a row are easy to keep."


class NotLikeThePerson(UserAttributeSimilarityValidator):
    def __init__(self) -> None:
        super().__init__(user_attributes=("email", "name"))

    def get_error_message(self) -> str:
        return "This password is too much like your %(verbose_name)s. Choose one that cannot be guessed from it."


class NotCommon(CommonPasswordValidator):
    def get_error_message(self) -> str:
        return "This password is one of those that are tried first. Choose another."


class NotOnlyDigits(NumericPasswordValidator):
    def get_error_message(self) -> str:
        return "This password has only digits. Add letters."
