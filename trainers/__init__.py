"""The training half of Provender: replays a schedule, measures what the model forgets."""
