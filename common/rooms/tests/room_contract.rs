//! The contract of the room store, over a standalone server and over a cluster of three masters: both real, one for each test.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod room {
    pub(crate) mod bed;
    pub(crate) mod chat;
    pub(crate) mod faults;
    pub(crate) mod lobby;
    pub(crate) mod nodes;
    pub(crate) mod rates;
    pub(crate) mod relay;
    pub(crate) mod revocations;
    pub(crate) mod rooms;
    pub(crate) mod seats;
}

/// Makes each check a test over both kinds of server.
macro_rules! contract {
    ($($module:ident :: $check:ident;)*) => {
        mod standalone {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::room::$module::$check(super::room::bed::Bed::standalone().await).await;
            })*
        }
        mod cluster {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::room::$module::$check(super::room::bed::Bed::cluster().await).await;
            })*
        }
    };
}

contract! {
    rooms::a_newer_meta_replaces_an_older_one_and_an_ended_room_is_not_opened_again;
    rooms::a_room_is_created_once_and_its_outbox_says_so;
    rooms::only_the_host_ends_a_call_from_a_seat_and_everybody_is_told;
    rooms::ending_a_call_that_redis_does_not_know_leaves_a_tombstone_and_a_fact;
    rooms::a_room_nobody_came_to_is_forgotten_and_one_left_empty_ends;
    rooms::an_outbox_has_one_owner_and_only_the_owner_trims;
    rooms::ten_thousand_joins_and_leaves_leave_redis_where_it_was;
    seats::two_hundred_joins_for_ten_places_seat_exactly_ten;
    seats::a_second_device_gets_a_peer_id_of_its_own_and_a_reload_takes_its_old_seat;
    seats::a_resumed_session_gets_exactly_what_it_missed;
    seats::a_resume_is_fresh_when_the_log_is_no_longer_whole_or_the_seat_is_anothers;
    seats::an_older_generation_can_do_nothing_to_a_seat_taken_over;
    seats::of_two_sockets_with_one_private_id_the_first_keeps_the_seat;
    seats::a_seat_past_its_grace_is_given_up_and_one_resumed_in_time_is_not;
    seats::a_join_whose_caller_is_gone_leaves_no_ghost;
    relay::a_relay_reaches_only_its_receiver_and_a_broadcast_everybody_else;
    relay::an_event_with_the_clients_own_id_is_relayed_once;
    relay::operations_of_many_seats_keep_their_order_in_the_pipeline;
    relay::a_log_stays_within_its_length_and_its_floor_tells;
    relay::a_flood_of_many_seats_keeps_the_log_within_its_length_and_bytes;
    relay::a_log_outlives_its_last_entry_by_the_window_though_its_life_is_seldom_set;
    relay::a_lost_subscription_is_restored_on_every_channel;
    relay::a_users_id_reaches_whichever_device_of_that_user_is_there;
    chat::a_message_is_kept_for_those_it_was_for_and_read_in_pages;
    chat::a_message_that_comes_again_has_the_first_ones_stamp;
    chat::what_is_recorded_leaves_through_the_outbox_and_is_refused_when_that_is_full;
    chat::chat_follows_the_settings_as_they_are_now_and_ends_with_the_call;
    chat::a_hint_reaches_everybody_elses_nodes_and_no_log;
    chat::media_go_on_only_as_role_and_settings_are_now_and_off_at_any_time;
    chat::figures_count_who_is_there_and_what_was;
    lobby::who_waits_only_for_a_place_gets_the_next_free_one_who_came_first_first;
    nodes::only_a_registered_node_seats_anybody;
    nodes::two_sweepers_sweep_a_dead_node_once;
    nodes::a_node_swept_by_mistake_is_told_and_its_session_can_resume;
    nodes::a_node_that_holds_no_seat_retires_and_one_that_holds_some_stays;
    nodes::seats_lost_with_the_data_are_put_back_as_they_were;
    nodes::how_full_redis_is_shows_as_a_share_of_its_maxmemory;
    revocations::a_revoked_sign_in_is_known_to_every_process_and_forgotten_in_time;
    revocations::while_redis_is_away_what_was_revoked_stays_so;
    rates::of_requests_at_once_from_every_process_exactly_the_rate_passes;
    rates::what_was_spent_is_earned_again_and_then_forgotten;
    rates::while_redis_is_away_everybody_passes_uncounted;
    faults::connections_killed_under_load_lose_double_or_reorder_nothing;
    faults::operations_sent_before_a_leave_are_done_though_connections_die;
    faults::scripts_flushed_under_load_lose_double_or_reorder_nothing;
    faults::a_paused_redis_refuses_in_time_and_goes_on_without_a_gap_or_a_ghost;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moved_under_load_loses_doubles_or_reorders_nothing() {
    room::faults::slot_moved_under_load(room::bed::Bed::cluster().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_masters_rooms_go_on_with_its_replica() {
    room::faults::master_lost(room::bed::Bed::replicated().await).await;
}
