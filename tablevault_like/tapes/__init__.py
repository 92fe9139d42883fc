"""A strict part of the tar format, packed by xz: what archives of vaults and bundles of instances are written in."""
