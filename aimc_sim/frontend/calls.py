"""Recorded calls: the operation of each, and the user's module and line behind it."""

from __future__ import annotations

from torch import fx, nn

PREFIX = "model."
"""Before the paths of the user's modules in an export."""


def operation(node: fx.Node) -> str:
    """Return the name of the ATen operation that a call makes, or "" for other functions.

    Parameters
    ----------
    node : fx.Node
        A recorded call.

    Returns
    -------
    str
        Such as "max_pool2d".
    """
    schema = getattr(node.target, "_schema", None)
    return "" if schema is None else str(schema.name).partition("::")[2]


def overload(node: fx.Node) -> str:
    """Return the overload of the ATen operation that a call makes, "" for other functions.

    Parameters
    ----------
    node : fx.Node
        A recorded call.

    Returns
    -------
    str
        Such as "Tensor" or "default".
    """
    return str(getattr(node.target, "_overloadname", ""))


def location(node: fx.Node) -> str:
    """Return " (FILE, line N)" of the user's code behind a call, or "".

    Parameters
    ----------
    node : fx.Node
        A recorded call.

    Returns
    -------
    str
        Text that follows the name of a layer or operation in a message.
    """
    found = ""
    for line in str(node.meta.get("stack_trace") or "").splitlines():
        text = line.strip()
        if text.startswith("File ") and "/torch/" not in text and "/aimc_sim/frontend/" not in text:
            found = text.removeprefix("File ").partition(", in ")[0]
    return f" ({found})" if found else ""


def leaf(model: nn.Module, node: fx.Node) -> str:
    """Return the path of torch's own module behind a call, or "".

    Parameters
    ----------
    model : nn.Module
        The model that was recorded.
    node : fx.Node
        A recorded call.

    Returns
    -------
    str
        Path of a module of ``torch.nn`` without children; its class name if it is the model.
    """
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return ""
    path, kind = stack[-1]
    path = _plain(path)
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    if not kind.startswith("torch.nn.modules.") or ".container." in kind:
        return ""
    try:
        module = model.get_submodule(path)
    except AttributeError:
        return ""
    if any(True for _ in module.children()):
        return ""
    return path or type(module).__name__


def owners(node: fx.Node) -> list[str]:
    """Return the paths of all modules around a call, the innermost first.

    Parameters
    ----------
    node : fx.Node
        A recorded call.

    Returns
    -------
    list of str
        Paths, "" for the model itself, which is last.
    """
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return [*(_plain(path) for path, _ in reversed(stack)), ""]


def owner(model: nn.Module, node: fx.Node) -> str:
    """Return the path of the innermost module of any kind behind a call.

    Parameters
    ----------
    model : nn.Module
        The model that was recorded.
    node : fx.Node
        A recorded call.

    Returns
    -------
    str
        Path of the module; the class name of the model if the call is its own.
    """
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = _plain(stack[-1][0]) if stack else ""
    return path or type(model).__name__


def label(model: nn.Module, node: fx.Node) -> tuple[str, str]:
    """Return the name and the kind of a recorded call, for listings.

    Parameters
    ----------
    model : nn.Module
        The model that was recorded.
    node : fx.Node
        A recorded call.

    Returns
    -------
    name : str
        Path of torch's own module behind the call, or the name of the call.
    kind : str
        Class of that module, or name of the operation.
    """
    path = leaf(model, node)
    if path:
        try:
            return path, type(model.get_submodule(path)).__name__
        except AttributeError:  # the model itself, by the name of its class
            return path, path
    return node.name, operation(node) or str(node.target)


def where(model: nn.Module, node: fx.Node | None) -> str:
    """Return the words that name a call in a message.

    Parameters
    ----------
    model : nn.Module
        The model that was recorded.
    node : fx.Node or None
        A recorded call; None: no call in particular.

    Returns
    -------
    str
        "layer '...' (FILE, line N)", "operation '...' (FILE, line N)" or "the network".
    """
    if node is None:
        return "the network"
    path = leaf(model, node)
    noun = f"layer '{path}'" if path else f"operation '{node.name}'"
    return noun + location(node)


def _plain(path: str) -> str:
    """Return a module's path in the user's model."""
    parts = [part.partition("@")[0] for part in path.split(".")]
    path = ".".join(parts)
    return "" if path == PREFIX.rstrip(".") else path.removeprefix(PREFIX)
