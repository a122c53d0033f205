//! What operators may call by name.

use ike::config::Config;

/// The connections of the configuration with their children.
#[derive(Debug)]
pub(crate) struct Names {
    connections: Vec<(String, Vec<String>)>,
}

/// Children that a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Children {
    /// Those called so, of any connection.
    Any(String),
    /// The one of a connection.
    Of {
        /// The connection.
        connection: String,
        /// Its child.
        child: String,
    },
}

impl Names {
    pub(crate) fn of(config: &Config) -> Self {
        let children = |connection: &ike::config::Connection| connection.children.iter().map(|child| child.name.clone()).collect();
        Self { connections: config.connections.iter().map(|connection| (connection.name.clone(), children(connection))).collect() }
    }

    /// # Errors
    /// What is wrong with the name, and which there are.
    pub(crate) fn connection(&self, name: &str) -> Result<(), String> {
        if self.connections.iter().any(|(connection, _)| connection == name) {
            return Ok(());
        }
        let all: Vec<&str> = self.connections.iter().map(|(connection, _)| connection.as_str()).collect();
        Err(format!("no connection is called '{name}'; {}", list(&all.join(" "))))
    }

    /// What `child` or `connection/child` stands for.
    ///
    /// # Errors
    /// What is wrong with the name, and which there are.
    pub(super) fn children(&self, name: &str) -> Result<Children, String> {
        if self.all().any(|(_, child)| child == name) {
            return Ok(Children::Any(name.to_owned()));
        }
        let full = |(connection, child): (&str, &str)| format!("{connection}/{child}");
        if let Some((connection, child)) = self.all().find(|&both| full(both) == name) {
            return Ok(Children::Of { connection: connection.to_owned(), child: child.to_owned() });
        }
        let all: Vec<String> = self.all().map(full).collect();
        Err(format!("no child is called '{name}'; {}", list(&all.join(" "))))
    }

    fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.connections.iter().flat_map(|(connection, children)| children.iter().map(|child| (connection.as_str(), child.as_str())))
    }
}

fn list(names: &str) -> String {
    if names.is_empty() { "there are none".to_owned() } else { format!("there are: {names}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_by_its_name_and_by_its_connections() {
        let children = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let names = Names { connections: vec![("a".into(), children(&["net", "lab"])), ("b".into(), children(&["net"]))] };
        let one = |connection: &str, child: &str| Ok(Children::Of { connection: connection.into(), child: child.into() });
        assert_eq!(names.children("net"), Ok(Children::Any("net".into())));
        assert_eq!((names.children("a/net"), names.children("b/net")), (one("a", "net"), one("b", "net")));
        assert_eq!(names.children("b/lab"), Err("no child is called 'b/lab'; there are: a/net a/lab b/net".into()));
        assert_eq!(names.connection("c"), Err("no connection is called 'c'; there are: a b".into()));
        assert_eq!(Names { connections: Vec::new() }.connection("c"), Err("no connection is called 'c'; there are none".into()));
    }
}
