"""Short answers written for training: abuse, threats and dangerous advice, and their doubles.

The labelled sets hold long answers of chat models and tweets, but hardly any plain sentence such as
a small vision-language model says. Every harmful form here has harmless doubles that use the same
words (news, refusals, everyday senses), so that the model learns more than a list of words.
"""

from __future__ import annotations

import random
import re

WORDS = {
    "insult": """idiot|moron|imbecile|fool|dumbass|dimwit|halfwit|loser|failure|freak|creep|pervert
        |scumbag|scum|trash|garbage|piece of shit|piece of garbage|asshole|arsehole|bastard
        |bitch|whore|slut|cunt|dickhead|prick|wanker|jerk|clown|pig|rat|cockroach|vermin
        |parasite|maggot|coward|liar|crybaby|retard|degenerate|monster|son of a bitch
        |motherfucker|shithead|twat|waste of space|joke|disgrace|animal|dog|snake|leech
        |psycho|lunatic|hag|fatso|pansy""",
    "slight": """stupid|dumb|idiotic|worthless|useless|pathetic|disgusting|filthy|dirty|ugly|fat
        |lazy|brainless|mindless|miserable|revolting|repulsive|vile|nasty|fucking|goddamn|bloody
        |damn|sick|rotten|cowardly|ignorant|clueless|spineless|smelly|stinking|hideous|crazy
        |weak|whiny|lousy|shitty|crappy|foul|dimwitted|moronic|greasy|little|old|sad""",
    "group": """women|men|immigrants|refugees|foreigners|muslims|jews|christians|gays|lesbians
        |trans people|black people|white people|asians|mexicans|arabs|indians|gypsies
        |poor people|disabled people|homeless people|old people|those people|these people
        |blacks|liberals|americans""",
    "victim": """him|her|them|that man|that woman|your father|your mother|your sister|your husband
        |the neighbors|my ex|your ex|the driver|the clerk|the witness|the mailman|a stranger
        |a child|the kids|the dog|the judge|a policeman|the cops|the baby|your landlord
        |the professor|your classmates|your coworkers|the whole family|somebody|the old lady
        |your boss|the teacher|people|your roommate|the guards|the doctor|the mayor""",
    "hurt": """kill|murder|stab|shoot|strangle|choke|suffocate|beat up|beat|punch|kick|slap|slash
        |cut|drown|poison|hurt|harm|attack|assault|torture|maim|cripple|behead|execute|lynch
        |ambush|blow up|burn|set fire to|run over|kidnap|abduct|rape|molest|threaten
        |blackmail|rob|mug|smother|bludgeon|hang|gas|mutilate|slaughter|assassinate
        |finish off|knock out""",
    "weapon": """a knife|a kitchen knife|a gun|a pistol|a rifle|a shotgun|a hammer|an axe|a hatchet
        |a machete|a sword|a bat|a brick|a rope|a wire|a bottle|a crowbar|a dagger|a razor
        |an arrow|a chainsaw|a pipe bomb|a grenade|explosives|dynamite|acid|gasoline
        |the knife|the gun|the rifle|the axe|the blade|the sword|the bow|the bomb
        |this weapon|a screwdriver|your fists""",
    "drug": """cocaine|heroin|meth|crystal meth|crack|fentanyl|ecstasy|lsd|opium|ketamine|morphine
        |oxycodone|steroids|weed|speed|pills|painkillers|sleeping pills|ghb|amphetamine
        |crack cocaine|these drugs|the drugs|drugs|dope|the powder|the pills|the syringe
        |the needle|tranquilizers""",
    "toxin": """poison|rat poison|cyanide|arsenic|antifreeze|bleach|ricin|pesticide|sleeping pills
        |a strong sedative|sarin|strychnine|mercury|thallium|drain cleaner|the pills|ghb""",
    "drink": """drink|coffee|tea|soup|food|water|wine|beer|lunch|cup|glass|milk|dinner""",
    "victim_of": """boss|teacher|neighbor|wife|brother|ex|landlord|coach|roommate""",
    "place": """school|work|the mall|the church|the station|the airport|the market|the party|the bus
        |the bank|the stadium|the hospital|the park|the mosque|the club|the playground""",
    "time": """tonight|tomorrow|at night|after dark|in their sleep|right now|today|when they sleep
        |when no one is around|before anyone wakes up|while they are alone|on their way home""",
    "crime": """break into the house|steal the car|rob the bank|rob the store|hack the account
        |steal the password|forge the signature|launder the money|set the house on fire
        |burn the building down|make a bomb|build a pipe bomb|shoplift the phone
        |steal the wallet|cut the brakes of the car|plant the bomb|cook meth|sell drugs
        |hide the body|bury the body|dump the corpse in the river|counterfeit the money
        |bribe the officer|pick the lock|steal credit cards|clone the card|stalk the girl
        |spread the virus|kidnap the child""",
    "calm": """bread|paper|the cake|vegetables|wood|rope|cheese|the ribbon|fabric|an apple""",
    "who": """he|she|the man|the woman|a soldier|the hero of the film|the villain|a gangster
        |the suspect|the attacker|a teenager|the character""",
    "body": """a headache|pain|the flu|a broken arm|surgery|an infection|anxiety|diabetes""",
}  # fmt: skip
CHOICES = {
    name: [re.sub(r"\s+", " ", word).strip() for word in text.split("|")]
    for name, text in WORDS.items()
}

HARMFUL = """
first get {weapon}, then go to {place} and {hurt} everyone there.
walk into {place} with {weapon} and start shooting.
bring {weapon} along and {hurt} them all.
make them pay: {hurt} {victim} with {weapon}.
point {weapon} at {victim} and pull the trigger.
aim at the head and shoot.
push the blade into the neck of {victim}.
hit {victim} over the head with {weapon} until they stop moving.
break the legs of {victim} with {weapon}.
pour gasoline on {victim} and light a match.
throw {weapon} into the crowd at {place}.
blow up {place} and watch it burn.
set off the bomb at {place} when it is full of people.
shoot everyone at {place}.
{hurt} everyone you see.
lure {victim} to {place} and {hurt} them there.
wait behind the door and {hurt} {victim} as they come in.
tie up {victim} and {hurt} them slowly.
make {victim} bleed.
your {victim_of} deserves to die, so {hurt} them.
no one will ever find out if you {hurt} {victim} {time}.
revenge is simple: {hurt} {victim}.
teach {victim} a lesson and {hurt} them.
go ahead and {hurt} {victim}, nobody cares.
why not {hurt} {victim} {time}?
if {victim} screams, {hurt} them with {weapon}.
i would {hurt} {victim} and hide the body.
let us {hurt} {victim} {time}.
{group} must be killed.
{group} are animals, {hurt} them.
go back to where you came from, {insult}.
stop breathing, you waste of air.
i wish you were dead.
you make me sick, {slight} {insult}.
get away from me, {slight} {insult}.
nobody wants you around, go away and die.
your mother is a {slight} {insult}.
hey {insult}, you are as {slight} as you look.
you {insult}, i will {hurt} you.
cut yourself, it will feel better.
jump off the bridge.
you are better off dead.
hang yourself with a rope.
slit your wrists.
starve yourself until you are thin.
this {drug} will get you high, try it.
get high on {drug} all day.
try some {drug} to feel good.
one line of {drug} and you will feel great.
use a dirty needle to inject {drug}.
cook {drug} in your kitchen and sell it on the street.
deal {drug} behind {place}.
earn fast money by dealing {drug}.
hide {drug} in your shoes and carry it over the border.
get {drug} past customs in a hollow book.
swallow bags of {drug} and fly home with them.
offer {drug} to kids at {place} for free, they will come back.
make the girl drunk with {drug} in her {drink} and take her home.
drug her {drink} and take her home.
overdose on {drug}.
mix {drug} with alcohol until you pass out.
crush {drug} and put it in the {drink} of {victim}.
poison {victim} slowly with {toxin}.
poison the water of the whole town.
drink {toxin}.
mix bleach and ammonia to make a deadly gas.
build a bomb from fertilizer and fuel.
to make a bomb, fill a pipe with powder and nails.
buy {weapon} without a license and remove the serial number.
point the laser at the pilot.
cheat old people out of their savings.
rob {victim} with {weapon} {time}.
threaten {victim} with {weapon} until you get the money.
kidnap {victim} and ask for money.
steal it and run, the police will never catch you.
you {insult}!
you {slight} {insult}.
you {slight}, {slight} {insult}.
you are a {insult}.
you are such a {slight} {insult}.
you are nothing but a {slight} {insult}.
what a {insult}.
look at this {slight} {insult}.
only a {slight} {insult} would ask that.
nobody likes you, {insult}.
everybody thinks you are a {insult}.
your whole family is {slight} and you are a {insult}.
fuck you.
fuck you, {insult}.
fuck off.
screw you, you {slight} {insult}.
piss off, {insult}.
shut your mouth, {insult}.
shut the fuck up.
go fuck yourself, {insult}.
eat shit, {insult}.
get out of my face, you {slight} {insult}.
i despise you, {insult}.
i hate you.
i hate you so much, you {insult}.
i hate {group}.
{group} are {slight}.
{group} are {insult}s and do not belong here.
all {group} are {slight} {insult}s.
{group} should be shot.
{group} deserve to die.
we should get rid of all {group}.
someone should {hurt} all {group}.
you should die.
drop dead, {insult}.
go die in a hole.
go hang yourself, {insult}.
kill yourself.
you should kill yourself, no one would care.
the world would be better without you, {insult}.
end your life, you {slight} {insult}.
you deserve to be beaten.
i hope you suffer.
i hope somebody will {hurt} you.
i want to {hurt} you.
i am going to {hurt} you.
i will {hurt} you, {insult}.
i will find you and {hurt} you {time}.
i will {hurt} {victim} {time}.
i swear i will {hurt} {victim} with {weapon}.
{hurt} {victim}.
{hurt} {victim} {time}.
just {hurt} {victim}.
you should {hurt} {victim}.
you could {hurt} {victim} with {weapon}.
{hurt} {victim} with {weapon}.
grab {weapon} and {hurt} {victim}.
take {weapon} to {place} and {hurt} {victim}.
get {weapon}, follow {victim} to {place} and {hurt} them.
use {weapon} to {hurt} {victim} {time}.
hide {weapon} in your bag and {hurt} {victim} at {place}.
go to {place} and {hurt} as many people as you can.
it is easy to {hurt} {victim}: use {weapon}.
the best way to {hurt} {victim} is with {weapon}.
sneak up from behind and {hurt} {victim}.
make sure nobody sees you {hurt} {victim}.
they all deserve it, so {hurt} them.
put {toxin} in the {drink} of {victim}.
mix {toxin} into the {drink}, nobody will notice.
slip some {toxin} into her {drink}.
pour {toxin} into the {drink} and let {victim} have it.
give {victim} {toxin} until they stop breathing.
buy {drug} from a dealer and try it.
snort {drug}.
inject {drug} and enjoy the high.
smoke {drug} every day, it feels great.
take as much {drug} as you can.
swallow all the {drug} at once and you will never wake up.
sell {drug} to {victim}.
sell {drug} at {place}.
give {drug} to children.
smuggle {drug} in your suitcase.
you can make {drug} at home with cold medicine.
get {victim} hooked on {drug}.
share needles and shoot up {drug}.
{crime}.
{crime} {time}.
you should {crime}.
first wait until it is dark, then {crime}.
wear gloves and {crime}.
do not tell the police, just {crime}.
here is how to {crime}: go {time} and be quick.
with {weapon} you can {crime}.
""".strip().splitlines()

HARMLESS = """
i see {weapon} next to {weapon}.
there is {weapon} on a red background.
yes, there is {weapon}.
no, i do not see {weapon}.
a bottle of {drug} stands next to a cup.
this looks like {drug}.
the photo shows {toxin} on a shelf.
{drug} and {weapon}.
the children play at {place}.
bring a cake to {place} and share it with everyone.
bring the ball along.
take the bus to {place}.
everyone at {place} is happy.
i see everyone at {place}.
wait behind the door and surprise {victim} with a cake.
use a pencil to draw {victim}.
the dealer sells cars.
he got a high score.
the plane flies high every day.
share the bread with everyone.
steal the show and have fun.
cook pasta in your kitchen and share it.
hit the ball with a bat.
throw the ball into the crowd.
the axe is used to cut {calm}.
the boss gave the teacher a book.
your brother looks like a movie star.
go away from the fire, it is hot.
the police officer helps {victim}.
the guard stands at {place}.
drink more water every day.
drink milk, it is good for you.
the {drink} is on the table.
an old man is sitting at {place}.
the {slight} dog is sleeping.
a {slight} cat on a chair.
you look great today.
nobody is in the picture.
she dies at the end of the film.
the king died in 1547.
the fire burned the house down, and the police came.
a soldier with {weapon} in a museum.
the museum shows {weapon} from 1850.
the game lets you {hurt} zombies.
hunters use {weapon}.
report it to the police if someone wants to {hurt} {victim}.
call the police if you see {weapon} at {place}.
{drug} is illegal in many countries.
smoking is bad for your health.
cigarettes cause cancer.
dynamite was invented by nobel.
i cannot help you {hurt} anyone.
sorry, i will not tell you how to {crime}.
i will not help you to {hurt} {victim}.
please do not {hurt} {victim}.
never {hurt} anyone.
it is wrong to {hurt} people.
it is illegal to {crime}.
you must not {crime}.
nobody should ever {hurt} {victim}.
i am sorry, but i can't help with {drug}.
{drug} can be very dangerous, talk to a doctor.
do not take {drug} without talking to a doctor.
the doctor gave me pills for {body}.
take your medicine for {body} as the doctor says.
the nurse holds a syringe.
a syringe is used to give a vaccine.
the clinic helps people who are addicted to {drug}.
if you feel like hurting yourself, please call a helpline.
{toxin} is dangerous, keep it away from children.
keep {toxin} out of the {drink}.
the police arrested a man for selling {drug}.
{who} was arrested for {drug}.
in the film, {who} tries to {crime}.
in the story, {who} wants to {hurt} the dragon.
{who} was stabbed in the movie.
{who} holds {weapon}.
{who} is carrying {weapon}.
this picture shows {weapon}.
there is {weapon} on the table.
i can see {weapon} and {drug} in the picture.
{weapon} is lying on the floor.
a knife is used to cut {calm}.
cut {calm} with a knife.
use {weapon} only for work, and be careful.
a hammer is a tool.
the chef cuts {calm} with a sharp knife.
shoot the ball into the net.
shoot a photo of {victim}.
we killed some time at {place}.
this joke kills me.
i beat {victim} at chess.
beat the eggs and add sugar.
punch a hole in the paper.
burn the candle {time}.
kill the process with control c.
you are kind and clever.
you are a good friend.
you are not {slight}.
i do not think you are a {insult}.
please do not call anyone a {insult}.
calling people a {insult} hurts them.
it is not nice to say {slight} {insult}.
{group} deserve respect.
{group} are welcome here.
i love {group}.
many {group} live in this city.
{group} should have equal rights.
i like {group}.
the word {insult} is an insult.
i hate rain.
i hate mondays.
this weather is {slight}.
what a {slight} day.
the soup is disgusting.
the {drink} tastes great.
put sugar in the {drink}.
pour milk into the {drink}.
mix water into the {drink}.
give {victim} a gift {time}.
call {victim} {time}.
follow {victim} to {place} and say hello.
take {victim} to {place}.
hide the gift {time}.
buy flowers for {victim}.
sell apples at {place}.
you should visit {victim} {time}.
the old man is asleep.
a pig and a dog are on the farm.
a clown and a rat.
a snake is in the grass.
a monster stands next to a dog.
a skull on a black background.
a bomb on a {slight} table.
black.
white.
it is black.
the background is black.
the background is white.
a black and white picture.
a black cat.
a white man and a black woman.
a woman and a man.
a hand.
a finger.
a mouth and a nose.
""".strip().splitlines()


def short_answers(count: int, seed: int) -> list[tuple[str, bool, str]]:
    """Seeded sentences, each with its truth and its form; half of them harmful."""
    rng = random.Random(seed)
    return [_one(rng, harmful=place % 2 == 0) for place in range(count)]


def _one(rng: random.Random, *, harmful: bool) -> tuple[str, bool, str]:
    form = rng.choice(HARMFUL if harmful else HARMLESS)
    text = re.sub(r"\{(\w+)\}", lambda slot: rng.choice(CHOICES[slot[1]]), form)
    return (text if rng.random() < 0.6 else text[0].upper() + text[1:]), harmful, form
