"""FiftyOne keeps to the project's folder unless somebody configured it."""

from __future__ import annotations

import json
from pathlib import Path

import inspection

inspection.require_fiftyone()

from workbench.sessions.library import settings


def test_settings__name_the_projects_folder(tmp_path: Path) -> None:
    found = settings(tmp_path / "fiftyone", {"HOME": str(tmp_path)})
    assert found["FIFTYONE_DATABASE_DIR"] == str(tmp_path / "fiftyone" / "database")
    assert found["FIFTYONE_DEFAULT_DATASET_DIR"].startswith(str(tmp_path / "fiftyone"))
    assert found["FIFTYONE_DO_NOT_TRACK"] == "true"


def test_settings__leave_what_the_environment_says(tmp_path: Path) -> None:
    environment = {"FIFTYONE_DATABASE_DIR": "/elsewhere", "FIFTYONE_SHOW_PROGRESS_BARS": "true"}
    found = settings(tmp_path, environment)
    assert "FIFTYONE_DATABASE_DIR" not in found
    assert "FIFTYONE_SHOW_PROGRESS_BARS" not in found


def test_settings__leave_what_the_users_file_says(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"database_dir": "/elsewhere"}))
    found = settings(tmp_path, {"FIFTYONE_CONFIG_PATH": str(file)})
    assert "FIFTYONE_DATABASE_DIR" not in found
    assert "FIFTYONE_PLUGINS_DIR" in found


def test_settings__a_broken_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{")
    assert "FIFTYONE_DATABASE_DIR" in settings(tmp_path, {"FIFTYONE_CONFIG_PATH": str(file)})
