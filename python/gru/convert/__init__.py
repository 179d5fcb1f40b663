"""Other systems' recurrent layers, in and out; each reader needs at most one small package."""
