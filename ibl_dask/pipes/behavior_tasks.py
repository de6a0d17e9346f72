"""Behaviour tasks, under the names of `ibllib.pipes.behavior_tasks`."""

from __future__ import annotations

from ibl_dask.pipes.field_classes import field_class

__all__ = [
    "HabituationRegisterRaw",
    "HabituationTrialsBpod",
    "HabituationTrialsNidq",
    "HabituationTrialsTimeline",
    "TrialRegisterRaw",
    "PassiveRegisterRaw",
    "PassiveTaskNidq",
    "PassiveTaskTimeline",
    "ChoiceWorldTrialsBpod",
    "ChoiceWorldTrialsNidq",
    "ChoiceWorldTrialsTimeline",
    "TrainingStatus",
]

HabituationRegisterRaw = field_class("HabituationRegisterRaw", __name__)
HabituationTrialsBpod = field_class("HabituationTrialsBpod", __name__)
HabituationTrialsNidq = field_class("HabituationTrialsNidq", __name__)
HabituationTrialsTimeline = field_class("HabituationTrialsTimeline", __name__)
TrialRegisterRaw = field_class("TrialRegisterRaw", __name__)
PassiveRegisterRaw = field_class("PassiveRegisterRaw", __name__)
PassiveTaskNidq = field_class("PassiveTaskNidq", __name__)
PassiveTaskTimeline = field_class("PassiveTaskTimeline", __name__)
ChoiceWorldTrialsBpod = field_class("ChoiceWorldTrialsBpod", __name__)
ChoiceWorldTrialsNidq = field_class("ChoiceWorldTrialsNidq", __name__)
ChoiceWorldTrialsTimeline = field_class("ChoiceWorldTrialsTimeline", __name__)
TrainingStatus = field_class("TrainingStatus", __name__)
