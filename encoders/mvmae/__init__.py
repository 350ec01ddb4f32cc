"""MVMAE and MVMAE-V2T."""
