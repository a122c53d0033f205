//! What operators may call by name.

use ike::config::Config;
use ike::io::Target;

/// The connections of the configuration with their children.
#[derive(Debug)]
pub(crate) struct Names {
    connections: Vec<(String, Vec<String>)>,
}

impl Names {
    pub(crate) fn of(config: &Config) -> Self {
        let children = |connection: &ike::config::Connection| connection.children.iter().map(|child| child.name.clone()).collect();
        Self { connections: config.connections.iter().map(|connection| (connection.name.clone(), children(connection))).collect() }
    }

    /// The SAs of a connection.
    ///
    /// # Errors
    /// What is wrong with the name, and which there are.
    pub(crate) fn connection(&self, name: &str) -> Result<Target, String> {
        if self.connections.iter().any(|(connection, _)| connection == name) {
            return Ok(Target::Connection(name.to_owned()));
        }
        let all: Vec<&str> = self.connections.iter().map(|(connection, _)| connection.as_str()).collect();
        Err(format!("no connection is called '{name}'; {}", list(&all.join(" "))))
    }

    /// The Child SAs that `child` or `connection/child` stands for.
    ///
    /// # Errors
    /// What is wrong with the name, and which there are.
    pub(super) fn child(&self, name: &str) -> Result<Target, String> {
        if self.all().any(|(_, child)| child == name) {
            return Ok(Target::Child { connection: None, name: name.to_owned() });
        }
        let full = |(connection, child): (&str, &str)| format!("{connection}/{child}");
        if let Some((connection, child)) = self.all().find(|&both| full(both) == name) {
            return Ok(Target::Child { connection: Some(connection.to_owned()), name: child.to_owned() });
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
        let child = |connection: Option<&str>, name: &str| Ok(Target::Child { connection: connection.map(Into::into), name: name.into() });
        assert_eq!(names.child("net"), child(None, "net"));
        assert_eq!((names.child("a/net"), names.child("b/net")), (child(Some("a"), "net"), child(Some("b"), "net")));
        assert_eq!(names.connection("a"), Ok(Target::Connection("a".into())));
        assert_eq!(names.child("b/lab"), Err("no child is called 'b/lab'; there are: a/net a/lab b/net".into()));
        assert_eq!(names.connection("c"), Err("no connection is called 'c'; there are: a b".into()));
        assert_eq!(Names { connections: Vec::new() }.connection("c"), Err("no connection is called 'c'; there are none".into()));
    }
}
