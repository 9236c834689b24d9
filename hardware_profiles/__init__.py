"""The shipped profiles: TOML files, one for each chip type; see README.md beside them."""
