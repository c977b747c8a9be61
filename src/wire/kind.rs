//! The four kinds of things that servers list, and the words the protocol has for each.

use super::method;

/// A kind of thing that a server offers by a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Tools, known by name.
    Tools,
    /// Prompts, known by name.
    Prompts,
    /// Resources, known by URI.
    Resources,
    /// Resource templates, known by URI template.
    Templates,
}

/// What agents are told of when it changes: templates change with resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Tools.
    Tools,
    /// Prompts.
    Prompts,
    /// Resources and templates.
    Resources,
}

impl Kind {
    /// All, in the order of their positions.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// Its position in [`Kind::ALL`].
    pub fn position(self) -> usize {
        self as usize
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Templates => "templates",
            other => other.member(),
        }
    }

    /// The kind that this method lists.
    pub fn listed_by(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.list_method() == method)
    }

    /// The method that lists it.
    pub fn list_method(self) -> &'static str {
        match self {
            Self::Tools => method::TOOLS_LIST,
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The member of the result that holds the list.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that it is known by.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The server's capability that stands for it.
    pub fn capability(self) -> &'static str {
        self.topic().capability()
    }

    /// What agents are told of when a list of this kind changes.
    pub fn topic(self) -> Topic {
        match self {
            Self::Tools => Topic::Tools,
            Self::Prompts => Topic::Prompts,
            Self::Resources | Self::Templates => Topic::Resources,
        }
    }

    /// Whether items are known by a name, which may carry the name of their backend; URIs never do.
    pub fn is_named(self) -> bool {
        matches!(self, Self::Tools | Self::Prompts)
    }
}

impl Topic {
    /// All, in the order of their positions.
    pub const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// Its position in [`Topic::ALL`].
    pub fn position(self) -> usize {
        self as usize
    }

    /// The topic whose change this notification tells of.
    pub fn told_by(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.changed() == method)
    }

    /// The notification of a change.
    pub fn changed(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }

    /// The server's capability that stands for it.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
        }
    }

    /// Its member in the filter of `subscriptions/listen`.
    pub fn listen_key(self) -> &'static str {
        match self {
            Self::Tools => "toolsListChanged",
            Self::Prompts => "promptsListChanged",
            Self::Resources => "resourcesListChanged",
        }
    }

    /// The kinds whose lists change with it.
    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| kind.topic() == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_lead_back_to_the_kind() {
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind.position(), at);
            assert_eq!(Kind::listed_by(kind.list_method()), Some(kind));
        }
        for (at, topic) in Topic::ALL.into_iter().enumerate() {
            assert_eq!(topic.position(), at);
            assert_eq!(Topic::told_by(topic.changed()), Some(topic));
            assert!(topic.kinds().all(|kind| kind.topic() == topic) && topic.kinds().count() > 0);
        }
    }
}
