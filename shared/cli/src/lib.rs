//! How a plugin talks with a person.
