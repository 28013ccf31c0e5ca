"""Every file that crosses a door, one module each: its columns, its writer, its reader."""
