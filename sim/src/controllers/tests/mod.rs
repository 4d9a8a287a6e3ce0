mod daemons;
mod deployments;
mod pods;
mod real;
mod rules;
mod whole;
mod world;
