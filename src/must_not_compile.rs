//! What the types forbid, as tests of the documentation: nowhere else can code be expected not to
//! compile.
//!
//! A consumer can neither be cloned nor shared:
//!
//! ```compile_fail,E0277
//! fn share<T: Sync>() {}
//! share::<bywash::Consumer<u8>>();
//! ```
//!
//! ```compile_fail,E0277
//! fn clone<T: Clone>() {}
//! clone::<bywash::Consumer<u8>>();
//! ```
//!
//! and only items that can be sent make ends that can be sent:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>() {}
//! send::<bywash::Consumer<std::rc::Rc<u8>>>();
//! ```
//!
//! ```compile_fail,E0277
//! fn send<T: Send>() {}
//! send::<bywash::Producer<std::rc::Rc<u8>>>();
//! ```
