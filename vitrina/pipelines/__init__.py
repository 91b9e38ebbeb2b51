"""One file per job, which joins the rooms: each can be read aloud."""
