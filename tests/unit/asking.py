"""Weights and image of a service asked in one go, as a test wants it; a run asks for each where it is needed."""

from __future__ import annotations

from collections.abc import Mapping

from hermeion.answers import Answer
from hermeion.inventory import HostSpec
from hermeion.plans import Service
from hermeion.registry import image_question, read_image
from hermeion.s3 import S3Access
from hermeion.sources import Sources, combine, read_weights, weights_question


def question_script(
    spec: HostSpec, service: Service, *, ca: str | None, token: str | None, access: S3Access | None = None
) -> str:
    """One script for weights and image of a service."""
    asked = (weights_question(spec, service, ca=ca, token=token, access=access), image_question(service, ca=ca))
    # Each ends with `exit` and cleans up after itself: in a shell of its own it does so for itself alone.
    return "".join(f"(\n{script})\n" for script in asked if script)


def read_answers(host: str, spec: HostSpec, service: Service, answers: Mapping[str, Answer]) -> Sources:
    """Judge the answers about weights and image of one service."""
    return combine(*read_weights(host, spec, service, answers), read_image(host, service, answers))
