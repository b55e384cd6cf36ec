//! Write a rule for the Vestibule gateway: a trait, a macro, a test.
//!
//! ```
//! use vestibule_sdk::prelude::*;
//!
//! /// Tells people when a safe door opens.
//! pub struct DoorWatch;
//!
//! impl Rule for DoorWatch {
//!     const SUBSCRIPTIONS: &'static [Subscription] = &[Subscription::kinds(&[kind::SECURITY_DOOR_OPEN])];
//!
//!     fn on_event(event: Event<'_>, out: &mut Out<'_>) {
//!         out.raise("door", Severity::Major, "Safe door open").detail(event.terminal().name());
//!     }
//! }
//!
//! vestibule_sdk::rule!(DoorWatch);
//! # fn main() {
//! let mut host = TestHost::<DoorWatch>::new();
//! let actions = host.event(TestEvent::new("atm-01", kind::SECURITY_DOOR_OPEN));
//! assert_eq!(actions.len(), 1);
//! # }
//! ```
//!
//! Built with `cargo build --profile plugin --target wasm32-unknown-unknown`, the file goes into the gateway's plugin
//! folder as it is. A rule has no `self`: what it wants to remember it stores in [`state`], which the gateway commits
//! together with the rule's actions.

pub mod component;
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, clippy::all, reason = "generated from the contract")]
pub mod contract;
pub mod device;
mod event;
mod host;
pub mod kind;
pub mod log;
mod out;
mod rule;
#[cfg(not(target_arch = "wasm32"))]
pub mod scenario;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
mod test_host;

pub use contract::vestibule::rule::types::{Action, Alert, Clearance, Command, Derived, Effect};
pub use event::{Event, Severity, Terminal};
pub use out::{AlertDraft, CommandDraft, DerivedDraft, Out};
pub use rule::{Rule, Subscription, answer, describe};
#[cfg(not(target_arch = "wasm32"))]
pub use test_host::{TestEvent, TestHost};

/// Everything that a rule usually names.
pub mod prelude {
    #[cfg(not(target_arch = "wasm32"))]
    pub use crate::{Effect, TestEvent, TestHost};
    pub use crate::{Event, Out, Rule, Severity, Subscription, Terminal, component, device, kind, log, state};
}

/// Makes a crate a plugin: exports this rule to the gateway. Does nothing where the crate is built for tests.
#[macro_export]
macro_rules! rule {
    ($rule:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a wasm module are written by the binding generator")]
        const _: () = {
            struct Exported;

            impl $crate::contract::exports::vestibule::rule::rule::Guest for Exported {
                fn describe() -> $crate::contract::vestibule::rule::types::Descriptor {
                    $crate::describe::<$rule>(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
                }

                fn on_events(
                    batch: ::std::vec::Vec<$crate::contract::vestibule::rule::types::Event>,
                ) -> ::std::vec::Vec<$crate::Action> {
                    $crate::answer::<$rule>(&batch)
                }
            }

    $crate::contract::export_rule!(Exported with_types_in $crate::contract);
        };
    };
}
