"""The setting in force and each of its controls, as attributes that can be read and set."""

from __future__ import annotations

from abc import ABC, abstractmethod

from deeprec_env.scenario.bounds import Threshold
from deeprec_env.scenario.schema import Scenario
from deeprec_env.scenario.setting import Setting


class SettingInForce(ABC):
    """What has a setting in force."""

    __slots__ = ()

    _scenario: Scenario
    _setting: Setting

    @abstractmethod
    def control(self, setting: Setting) -> None:
        """Put a setting in force."""

    @property
    def setting(self) -> Setting:
        """What is in force; settable."""
        return self._setting

    @setting.setter
    def setting(self, setting: Setting) -> None:
        self.control(setting)

    @property
    def batch_size(self) -> int:
        """Batch size in force; settable."""
        return self._setting.batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        self.control(self._setting.replace(batch_size=batch_size))

    @property
    def threshold(self) -> Threshold:
        """Offload threshold in force; settable."""
        return self._setting.threshold

    @threshold.setter
    def threshold(self, threshold: Threshold) -> None:
        self.control(self._setting.replace(threshold=threshold))

    @property
    def plan(self) -> int:
        """Index of the plan in force; settable, by its name too."""
        return self._setting.plan

    @plan.setter
    def plan(self, plan: int | str) -> None:
        self.control(self._setting.replace(plan=self._scenario.plan_index(plan)))

    @property
    def split(self) -> str:
        """How queries are split, in force; settable."""
        return self._setting.split

    @split.setter
    def split(self, split: str) -> None:
        self.control(self._setting.replace(split=split))

    @property
    def order(self) -> str:
        """Order of all queues, in force; settable."""
        return self._setting.order

    @order.setter
    def order(self, order: str) -> None:
        self.control(self._setting.replace(order=order))

    @property
    def offload(self) -> str:
        """What decides who is offloaded, in force; settable."""
        return self._setting.offload

    @offload.setter
    def offload(self, offload: str) -> None:
        self.control(self._setting.replace(offload=offload))

    @property
    def admit_ms(self) -> float | None:
        """Most milliseconds that an admitted query may be predicted to take, in force (None: any); settable."""
        return self._setting.admit_ms

    @admit_ms.setter
    def admit_ms(self, admit_ms: float | None) -> None:
        self.control(self._setting.replace(admit_ms=admit_ms))
