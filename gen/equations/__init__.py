"""Rules that a rule file says in equations: text -> tree -> sums of products -> steps.

`text` reads an equation, `terms` writes it out as a sum of products and holds it against the axes of what
it names, `read` holds the equations of a file against one another, `signals` makes teaching signals,
`statements` the changes of learned tensors, `rule` is the Rule.
"""

from ..errors import CompileError
from ..rules import Rule, rules
from ..spec import OWN, RuleSpec
from .rule import OwnRule
from .text import placed as placed


def rule_of(spec: RuleSpec) -> Rule:
    """The rule that a rule file asks for: one of those there are, or its own. CompileError for equations that
    say nothing."""
    if spec.update:
        return OwnRule(spec)
    if spec.rule == OWN:
        raise CompileError("update", "is missing", 'a rule of your own says [update] weight = "..."')
    return rules()[spec.rule]
