"""Packaging of iexworker: `pip install .` gives the `iexworker` command."""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="iexworker",
    version="0.1.0",
    description="A compute-node daemon for iExec workerpools",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["iexworker", "iexworker.*"]),
    package_data={"iexworker": ["py.typed", "sandbox/app/run.sh"]},
    install_requires=[
        "coincurve>=21,<22",
        "docker>=7.1,<8",
        "dynaconf>=3.2.6,<4",
        "eth-account>=0.14,<0.15",
        "falcon>=4.1,<5",
        "gunicorn>=27,<28",
        "prometheus-client>=0.21,<1",
        "psutil>=6,<8",
        "pycryptodome>=3.20,<4",
        "requests>=2.32,<3",
        "setproctitle>=1.3.4,<2",
        "urllib3>=2.2,<3",
        "uvloop>=0.21,<1",
        "web3>=8,<9",
    ],
    extras_require={"fasthttp": ["gunicorn_h1c==0.6.10"]},
    entry_points={"console_scripts": ["iexworker = iexworker.cli:main"]},
)
