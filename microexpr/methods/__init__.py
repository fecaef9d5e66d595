"""The methods: one literal table, name -> class, settings and reference. Classes are imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microexpr.errors import UnknownName
from microexpr.types import Method


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
        path: "module:class".
        settings: what differs from the class's defaults.
        title: what it is, in a line.
        doi: of the paper it comes from; empty for the floors, which are nobody's.
    """

    path: str
    title: str
    doi: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


_MJFN = "10.1007/s41095-021-0217-9"

METHODS = {
    "lbp-top": Entry(
        "microexpr.methods.lbp_top:LBPTOP",
        "local binary patterns on three orthogonal planes, SVM (Zhao and Pietikainen 2007)",
        "10.1109/TPAMI.2007.1110",
    ),
    "bi-woof": Entry(
        "microexpr.methods.bi_woof:BiWOOF",
        "bi-weighted oriented optical flow, linear SVM (Liong et al. 2018)",
        "10.1016/j.image.2017.11.006",
    ),
    "mdmo": Entry(
        "microexpr.methods.mdmo:MDMO",
        "main directional mean optical flow in 36 regions, SVM (Liu et al. 2016)",
        "10.1109/TAFFC.2015.2485205",
    ),
    "sparse-mdmo": Entry(
        "microexpr.methods.sparse_mdmo:SparseMDMO",
        "sparse codes of the main directions of every frame, SVM (Liu, Li and Lai 2018)",
        "10.1109/TAFFC.2018.2854166",
    ),
    "alexnet": Entry(
        "microexpr.methods.alexnet:AlexNet",
        "AlexNet on the flow picture, baseline of the MJFN paper (Krizhevsky et al. 2012)",
        "10.1145/3065386",
    ),
    "micro-attention": Entry(
        "microexpr.methods.micro_attention:MicroAttention",
        "residual network that masks its maps, on the apex picture (Wang et al. 2020)",
        "10.1016/j.neucom.2020.06.005",
    ),
    "atnet": Entry(
        "microexpr.methods.atnet:ATNet",
        "apex picture by a residual network, flow around it by an LSTM (Peng et al. 2019)",
        "10.1109/ACII.2019.8925525",
    ),
    "off-apexnet": Entry(
        "microexpr.methods.off_apexnet:OFFApexNet",
        "two streams of convolutions on u and v (Gan et al. 2019)",
        "10.1016/j.image.2019.02.005",
    ),
    "ststnet": Entry(
        "microexpr.methods.ststnet:STSTNet",
        "shallow triple stream CNN on u, v and strain (Liong et al. 2019)",
        "10.1109/FG.2019.8756567",
    ),
    "dual-inception": Entry(
        "microexpr.methods.dual_inception:DualInception",
        "two streams of Inception blocks on u and v, onset to mid-position (Zhou et al. 2019)",
        "10.1109/FG.2019.8756579",
    ),
    "capsulenet": Entry(
        "microexpr.methods.capsulenet:CapsuleNet",
        "ResNet-18 and capsules on the apex frame (Quang et al. 2019)",
        "10.1109/FG.2019.8756544",
    ),
    "neural-recognizer": Entry(
        "microexpr.methods.neural_recognizer:NeuralRecognizer",
        "ResNet-18 on a flow picture, halves of the face apart, with macro-expressions (Liu et al. 2019)",
        "10.1109/FG.2019.8756583",
    ),
    "mjfn-bbn": Entry(
        "microexpr.methods.mjfn:MJFN", "backbone of MJFN alone (Li et al. 2021)", _MJFN, {"taps": (), "fusion": "none"}
    ),
    "mjfn-avg": Entry(
        "microexpr.methods.mjfn:MJFN", "MJFN, decisions averaged (Li et al. 2021)", _MJFN, {"fusion": "mean"}
    ),
    "mjfn": Entry("microexpr.methods.mjfn:MJFN", "multi-scale joint feature network (Li et al. 2021)", _MJFN),
    "majority": Entry("microexpr.methods.floors:Majority", "floor: always the most frequent class"),
    "prior": Entry("microexpr.methods.floors:Prior", "floor: a class drawn with its frequency"),
    "flow-svm": Entry("microexpr.methods.flow_svm:FlowSVM", "floor: linear SVM on the 28x28 flow"),
    "flow-linear": Entry(
        "microexpr.methods.flow_linear:FlowLinear", "floor: logistic regression on the mirrored, mixed flow"
    ),
}


def names() -> list[str]:
    """The registered methods, in the order of the paper's Table 3, then the floors."""
    return list(METHODS)


def entry(name: str) -> Entry:
    """The row of a method.

    Raises:
        UnknownName: nothing is registered under the name; the nearest spelling is suggested.
    """
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return METHODS[name]


def kind_of(name: str) -> type:
    """The class of a method."""
    module, _, kind = entry(name).path.partition(":")
    return getattr(importlib.import_module(module), kind)


def create(name: str, **settings: Any) -> Method:
    """A new, unfitted method.

    Args:
        name: a key of `METHODS`.
        settings: fields of its class; text is read in the type of the field.

    Raises:
        UnknownName: no such method or setting.
        BadInput: a setting has a value it can't have.
    """
    from microexpr.methods._settings import parse_settings

    kind = kind_of(name)
    return kind(**{**entry(name).settings, **parse_settings(kind, settings)})
