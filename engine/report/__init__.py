"""The HTML page of a workspace; the only writer of HTML."""
