"""When observers and fake-quantization switch on and off during training."""

from __future__ import annotations

from pydantic import ConfigDict, Field, model_validator

from quant_torch.quantization._strict_model import StrictModel


class QATSchedule(StrictModel):
    """Step counts at which the switches change; ``Quantizer.step()`` advances them.

    Attributes:
        enable_observer: Step at which observers go on, >= 0.
        enable_fake_quant: Step at which fake-quantization goes on, >= enable_observer.
        disable_observer: Step at which observers go off again, > enable_observer and
            >= enable_fake_quant; None means never.
    """

    model_config = ConfigDict(frozen=True)

    enable_observer: int = Field(default=0, ge=0)
    enable_fake_quant: int = Field(default=0, ge=0)
    disable_observer: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _check_order(self) -> QATSchedule:
        if self.enable_fake_quant < self.enable_observer:
            raise ValueError(
                f"enable_fake_quant ({self.enable_fake_quant}) must be >= "
                f"enable_observer ({self.enable_observer})"
            )
        last = self.disable_observer
        if last is not None and not self.enable_observer < last >= self.enable_fake_quant:
            raise ValueError(
                f"disable_observer ({last}) must be > enable_observer ({self.enable_observer}) "
                f"and >= enable_fake_quant ({self.enable_fake_quant})"
            )
        return self

    def observes(self, step: int) -> bool:
        """Whether observers are on at a step count."""
        ended = self.disable_observer is not None and step >= self.disable_observer
        return step >= self.enable_observer and not ended

    def quantizes(self, step: int) -> bool:
        """Whether fake-quantization is on at a step count."""
        return step >= self.enable_fake_quant
