"""The model and the policy that hold when no files are named."""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_MODEL", "DEFAULT_POLICY"]

#: Roles with a tree, tenants, and rules that deny; what no rule allows is denied, and a deny wins.
#: ``*`` stands for everybody, every tenant and every action; a resource may end in ``*``.
DEFAULT_MODEL: Final = """\
[request_definition]
r = sub, dom, obj, act

[policy_definition]
p = sub, dom, obj, act, eft

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = (g(r.sub, p.sub, r.dom) || p.sub == "*") && (r.dom == p.dom || p.dom == "*") && \\
    keyMatch(r.obj, p.obj) && (r.act == p.act || p.act == "*")
"""

#: Administrators may do everything, members may talk to models.
DEFAULT_POLICY: Final = """\
p, admin, *, *, *, allow
p, member, *, model:*, invoke, allow
"""
