//! Situations that people met with neighbouring software, and what is right here. One test each, by the situation's name.

mod kubernetes;
mod openstack;
mod when_to_act;
