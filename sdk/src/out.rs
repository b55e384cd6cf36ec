//! What a rule answers.

use crate::contract::vestibule::rule::types::{Action, Alert, Clearance, Command, Derived, Effect};
use crate::{Event, Severity, kind};

/// Takes a rule's answers to one event. Each is about the event's terminal, device and part unless it says otherwise.
#[derive(Debug)]
pub struct Out<'a> {
    event: Event<'a>,
    actions: &'a mut Vec<Action>,
}

impl<'a> Out<'a> {
    pub(crate) fn new(event: Event<'a>, actions: &'a mut Vec<Action>) -> Self {
        Out { event, actions }
    }

    fn push(&mut self, effect: Effect) -> &mut Action {
        self.actions.push_mut(Action {
            cause: self.event.index(),
            terminal: self.event.terminal().0,
            device: self.event.device(),
            component: self.event.component(),
            effect,
        })
    }

    /// Tells people of a condition. The key names it among those of this rule at this terminal.
    pub fn raise(&mut self, key: &str, severity: Severity, title: &str) -> AlertDraft<'_> {
        let alert =
            Alert { key: key.to_owned(), severity: severity.code(), title: title.to_owned(), detail: String::new() };
        AlertDraft(self.push(Effect::Raise(alert)))
    }

    /// Ends the condition that was raised under this key.
    pub fn clear(&mut self, key: &str, detail: &str) {
        self.push(Effect::Clear(Clearance { key: key.to_owned(), detail: detail.to_owned() }));
    }

    /// Makes an event of this kind, at its default severity.
    pub fn emit(&mut self, kind: u16) -> DerivedDraft<'_> {
        let severity = kind::severity(kind).code();
        let derived = Derived { kind, severity, detail: String::new(), attributes: Vec::new() };
        DerivedDraft(self.push(Effect::Emit(derived)))
    }

    /// Asks the terminal to do something.
    pub fn command(&mut self, verb: &str) -> CommandDraft<'_> {
        CommandDraft(self.push(Effect::Command(Command { verb: verb.to_owned(), arguments: Vec::new() })))
    }
}

/// An alert being written.
#[derive(Debug)]
pub struct AlertDraft<'a>(&'a mut Action);

impl AlertDraft<'_> {
    /// One sentence more.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        if let Effect::Raise(alert) = &mut self.0.effect {
            alert.detail = detail.into();
        }
        self
    }
}

/// A derived event being written.
#[derive(Debug)]
pub struct DerivedDraft<'a>(&'a mut Action);

impl DerivedDraft<'_> {
    fn change(self, change: impl FnOnce(&mut Derived)) -> Self {
        if let Effect::Emit(derived) = &mut self.0.effect {
            change(derived);
        }
        self
    }

    /// Another severity than the kind's own.
    pub fn severity(self, severity: Severity) -> Self {
        self.change(|derived| derived.severity = severity.code())
    }

    /// One sentence for a person.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        self.change(|derived| derived.detail = detail.into())
    }

    /// One more attribute.
    pub fn attribute(self, name: &str, value: impl Into<String>) -> Self {
        self.change(|derived| derived.attributes.push((name.to_owned(), value.into())))
    }

    /// Another part than the event's.
    pub fn component(self, component: u16) -> Self {
        self.0.component = component;
        self
    }

    /// Another device than the event's.
    pub fn device(self, device: u16) -> Self {
        self.0.device = device;
        self
    }
}

/// A command being written.
#[derive(Debug)]
pub struct CommandDraft<'a>(&'a mut Action);

impl CommandDraft<'_> {
    /// One more argument.
    pub fn argument(self, name: &str, value: impl Into<String>) -> Self {
        if let Effect::Command(command) = &mut self.0.effect {
            command.arguments.push((name.to_owned(), value.into()));
        }
        self
    }
}
