"""Budgets of tokens and money: reserved before a call, settled after it, exact on one process or many."""
