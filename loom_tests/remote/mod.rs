//! The remote room: the slot that is written once, the view made of slots, the registry of live blocks, the queue between
//! threads, and stopping.

mod mailbox;
mod registry;
mod slot;
mod stopping;
mod view;
