"""Classes that users add under a key: the one place where this package has registries."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from quant_torch._suggest import closest

T = TypeVar("T", bound=type)


class UnknownKeyError(ValueError, KeyError):
    """No class is registered under a key; both bases are what scripts catch for it."""

    __str__ = ValueError.__str__  # a KeyError shows its message in quotes


class KeyedClasses:
    """Mixin for a base class whose subclasses are registered under string keys.

    The base class declares ``REGISTRY: ClassVar[dict[str, type]] = {}``; its subclasses share
    that table.
    """

    REGISTRY: ClassVar[dict[str, type]]

    @classmethod
    def register(cls, key: str) -> Callable[[T], T]:
        """Decorator that registers a class under a key.

        Args:
            key: The string by which a spec or config will name the class.

        Raises:
            ValueError: The key is empty, not a string, or taken.
        """
        if not isinstance(key, str) or not key:
            raise ValueError(f"a {cls.__name__} key must be a non-empty string, given {key!r}")

        def add(registered: T) -> T:
            holder = cls.REGISTRY.get(key)
            if holder is not None:
                raise ValueError(
                    f"{cls.__name__} key {key!r} is taken by {holder.__name__}; "
                    "registering never replaces a class, choose another key"
                )
            cls.REGISTRY[key] = registered
            return registered

        return add

    @classmethod
    def lookup(cls, key: object) -> type:
        """The class of a key, or the class itself when one is given.

        Raises:
            UnknownKeyError: A ValueError: an unknown key, or a class that is no subclass of this
                base.
        """
        if isinstance(key, type) and issubclass(key, cls):
            return key
        if isinstance(key, str) and key in cls.REGISTRY:
            return cls.REGISTRY[key]
        hint = closest(key, cls.REGISTRY) if isinstance(key, str) else ""
        raise UnknownKeyError(
            f"no {cls.__name__} is registered as {key!r}{hint}; "
            f"there are {', '.join(sorted(cls.REGISTRY))}"
        )

    @classmethod
    def get_class(cls, key: str) -> type:
        """The class registered under a key.

        Raises:
            UnknownKeyError: A KeyError: there is none.
        """
        if not isinstance(key, str):
            raise UnknownKeyError(f"a {cls.__name__} key is a string, given {key!r}")
        return cls.lookup(key)

    @classmethod
    def resolve(cls, data: str | type) -> type:
        """As :meth:`lookup`, the name that scripts for coreai_opt use."""
        return cls.lookup(data)

    @classmethod
    def list_registry_keys(cls) -> set[str]:
        """The keys that a spec or config may name."""
        return set(cls.REGISTRY)

    @classmethod
    def list_registry_values(cls) -> set[type]:
        """The registered classes."""
        return set(cls.REGISTRY.values())

    @classmethod
    def key_of(cls, registered: type) -> str:
        """The key of a registered class.

        Raises:
            ValueError: The class was never registered, so no plain form can name it.
        """
        for key, holder in cls.REGISTRY.items():
            if holder is registered:
                return key
        raise ValueError(
            f"{registered.__name__} has no key; register it with "
            f"@{cls.__name__}.register('...') to write it to a dict or YAML"
        )
