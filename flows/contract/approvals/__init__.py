"""Whether the contract protects people less than an earlier one, and who approved that.

``buf breaking`` compares what is sent, and sees no option. ``python -m flows.contract.approvals`` compares the options:
what it finds weaker needs an entry in ``contracts/approvals.yml``.
"""
