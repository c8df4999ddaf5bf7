//! Situations that people met with neighbouring software, and what is right here. One test each, by the situation's name.

mod incidents;
mod kubernetes;
mod moves;
mod openstack;
mod service_row;
mod when_to_act;
