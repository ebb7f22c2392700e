"""The demo: a support bot over a real local language model, protected by one shield (extra ``demo``)."""
