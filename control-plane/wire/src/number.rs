//! Registered numbers: a newtype with a constant per named value, so that every number a peer sends has exactly one representation.

/// Declares a registry: `NAME = value, "text";` gives the constant and its printed name. Values without a name print as numbers.
macro_rules! numbers {
    ($(#[$doc:meta])* $type:ident($int:ty) { $($constant:ident = $value:literal, $name:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub $int);

        impl $type {
            $(
                #[doc = concat!($name, " (", stringify!($value), ").")]
                pub const $constant: Self = Self($value);
            )*

            /// The registered name, where this crate knows it.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($name),)*
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({self})", stringify!($type))
            }
        }
    };
}

pub(crate) use numbers;
