"""The same encoders within groups of patients: by sex, age, view, site, scanner."""
