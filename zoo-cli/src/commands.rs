//! What `zoo` can do, a file each.

pub(crate) mod backends;
pub(crate) mod bench;
pub(crate) mod classify;
pub(crate) mod compare;
pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod finetune;
pub(crate) mod forward;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod weights;
