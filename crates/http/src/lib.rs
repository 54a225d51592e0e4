//! Empty for the first commit.
