"""A system prompt of about 1,500 tokens, as somebody might write one."""

from __future__ import annotations

PLACES = ("bar", "pool", "garden", "lift", "front desk")
RULES = 36


def system_prompt(rules: int = RULES) -> str:
    """The house rules of a hotel, about 40 tokens each."""
    lines = [
        f"Rule {number}: when a guest of the hotel asks about topic {number * 7 % 31}, answer kindly, name the floor "
        f"{number % 9} and the {PLACES[number % len(PLACES)]}, and never promise a discount of {number * 3} percent."
        for number in range(rules)
    ]
    return "You are the concierge of a hotel.\n" + " ".join(lines)
