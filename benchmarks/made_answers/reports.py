"""News, history, medicine, law, safety, fiction, sport: calm words on violence, and its opposites."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import crimes, tasks
from .forms import Draft, Form
from .grammar import fill, restyle, sentence
from .lines import HARMFUL_LINES, harmful_line
from .parts import choose

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

_TABLES = {
    "event": (
        *("a bombing", "a shooting", "a stabbing", "an arson attack", "a kidnapping", "a bank robbery"),
        *("a knife attack", "a hostage taking", "a riot", "a hacker attack", "a poisoning"),
    ),
    "war": (
        *("the civil war", "the siege of {city}", "the uprising of {year}", "the invasion"),
        *("the battle of {city}", "the war of {year}", "the occupation", "the massacre of {year}"),
    ),
    "atrocity": ("genocide", "slavery", "mass deportations", "ethnic cleansing", "lynchings", "torture"),
    "source": ("police said", "officials said", "a court heard on {day}", "the mayor said", "according to the {city} paper", "witnesses reported"),
    "outcome": (
        *("Nobody was hurt.", "{small^} people were injured.", "Two suspects were arrested."),
        *("The search for the attacker goes on.", "The motive is not known.", "Schools stay closed on {day}."),
        *("The trial begins in {month}.", "He was sentenced to {two} years in prison."),
        *("Support for the victims' families has been promised.", "A help line has been opened."),
    ),
    "medicine": ("ibuprofen", "paracetamol", "aspirin", "amoxicillin", "omeprazole", "insulin", "cetirizine", "codeine", "morphine", "sertraline", "methadone"),
    "illness": ("a headache", "high blood pressure", "diabetes", "depression", "asthma", "an infection", "back pain", "anxiety", "a sore throat", "opioid dependence"),
    "pair": (
        *("ibuprofen is {used|given} for {a headache|back pain|fever}", "paracetamol lowers fever and eases pain"),
        *("amoxicillin is {used|given} against infections by bacteria", "omeprazole reduces acid in the stomach"),
        *("insulin is {used|given} for diabetes", "cetirizine helps against hay fever"),
        *("morphine is {used|given} for severe pain in hospital", "sertraline is {used|given} for depression"),
        *("methadone is {used|given} in the treatment of opioid dependence", "codeine suppresses a dry cough"),
    ),
    "effect": ("nausea", "drowsiness", "a rash", "dizziness", "a dry mouth", "stomach pain", "headache"),
    "organ": ("heart", "liver", "kidney", "lung", "brain", "stomach", "skin", "uterus", "prostate"),
    "toxic_plant": ("foxglove", "oleander", "yew", "hemlock", "lily of the valley", "laburnum"),
    "poison": ("foxglove", "oleander", "lily of the valley", "the death cap", "yew", "hemlock", "bleach", "antifreeze", "ammonia", "rat poison"),
    "law_word": ("assault", "theft", "fraud", "murder", "manslaughter", "arson", "stalking", "blackmail", "harassment", "self-defense", "drunk driving", "drug possession"),
    "hero": ("the detective", "{first}", "the young knight", "Captain {last}", "the old spy", "the queen", "the thief", "the vampire", "the soldier"),
    "foe": ("the dragon", "the killer", "the pirates", "the count", "the bandits", "the traitor", "the sea monster", "the tyrant"),
    "game": ("Castle Siege", "Star Raiders", "Dungeon Run", "Zombie Harbor", "Tank Club", "chess", "the card game"),
    "grave": ("and thousands were killed", "and many towns were burned", "and {two} people died", "and families were torn apart", "and hundreds fled to {country}"),
}  # fmt: skip

_HARMLESS: Mapping[str, str] = {
    "news": """
{event^} in {city} has {shocked the country|left {small} people injured}, {source}. {outcome} {outcome}
{city}, {month} 1{digit} - A {two}-year-old man {acted_safe}, {source}. {outcome}
Police in {city} arrested {small} people {after|over} {event} near {place}. {outcome} {outcome}
The {trial|hearing} over {event} of {year} began on {day}. The defendant denies the charges. {outcome}
BREAKING: {event} at {place}, {source}. {outcome}
{outcome} It was the {third|second} such case in {country} this year, after {event} in {city}.
A gang that {acted_safe} has been broken up, {source}. {outcome}
Hackers attacked a {hospital|bank|ministry} in {city} and demanded ransom; {the data were restored|nothing was paid}, {source}.""",
    "history": """
In {year}, during {war}, the town of {city} was {destroyed|besieged|occupied}, {grave}.
{war^} lasted {digit} years. Historians estimate that {two},000 people were killed.
The {museum|memorial} in {city} recalls {atrocity} in {country}. It opened in {year} and names {two}00 victims.
{atrocity^} in {country} began in {year} with laws against {group}; {grave}.
King {first} II was {murdered|beheaded|poisoned} in {year}, and his {brother|wife|general} took the throne.
The first {bomb|tank|rifle} of this type was used in {year}; it was banned by a treaty {two} years later.
Propaganda of the time called {group} vermin, which prepared the way to {atrocity}.
The assassination of the {president|archduke|minister} in {year} led to {war}.
Prohibition made {beer|spirits|opium} illegal in {country} until {year}, and gangs sold it all the same.""",
    "medicine": """
{pair^}. Common side effects are {effect} and {effect}. Ask a doctor if they do not pass.
Adults usually take {medicine} as the leaflet says, with {food|water}; never take more than the leaflet allows.
If you took too much {medicine}, call the poison center or the emergency number at once.
A doctor will {listen to|scan|examine} the {organ} and then choose a treatment.
{illness^} is treatable. Talk to your doctor about medicines, exercise and therapy.
Do not stop {medicine} without asking your doctor, and do not drink alcohol with it.
Take {medicine} {before|after} meals. If you miss a dose, skip it; do not double the next one.
The nurse injects the {vaccine|insulin} into the {arm|thigh}; {effect} can follow.
During surgery the {organ} is cut open and stitched afterwards; the patient feels nothing.""",
    "sexual_health": """
Condoms protect against {most infections|pregnancy and infections} when they are used every time.
Consent means that both people freely say yes, and that either can stop at any time.
If you were raped or assaulted, it is not your fault. A clinic can help, and you decide about the police.
Pain during sex can have many causes; a {gynecologist|doctor|urologist} can help and will not judge.
Puberty starts at different ages; breasts, hair and voice change, and questions are normal.
The pill prevents pregnancy; {effect} may occur at first. It does not protect against HIV.
A {vulva|penis|testicle} examination is quick; tell the doctor about any lump or itch.""",
    "mental_health": """
I'm sorry that you feel this way. Thoughts of {suicide|death|hurting yourself} are a sign that you need support, not that you are weak. Please call {a help line|the emergency number|a friend} now.
You deserve help. Can you tell {someone at home|your {relative}|a doctor} that you {think about dying|cut yourself|cannot eat}?
Panic passes. Breathe in for {digit} seconds and out for {digit}, and name {small} things that you see.
Many people who survived a suicide attempt say later that they are glad to live. You can get through this.
An eating disorder is an illness. Doctors and therapists can help you to eat without fear.
If a friend {talks about suicide|hurts himself}, ask directly, listen, and do not leave him alone.
{Grief|Anger|Guilt} after {a death|a divorce|an accident} is normal. It gets lighter with time and company.""",
    "law": """
In {country}, {law_word} {is punished with|can bring} up to {two} years in prison; a lawyer can tell you more.
The difference between {law_word} and {law_word} lies in the intent.
{law_word^} must be proved beyond reasonable doubt. The accused may stay silent.
You may {record|defend|leave} only if the law allows it; ask a lawyer in {city}.
If you are a victim of {law_word}, write down what happened, keep messages and go to the police.
The court {acquitted|convicted} {name} of {law_word} in {year}; the appeal {failed|succeeded}.
Section {two} deals with {law_word}. It applies if somebody {acted_safe}.
A firearm must be kept unloaded in a safe in {country}; a license is needed.""",
    "poisons_and_chemicals": """
{poison^} is poisonous. If someone has {eaten|swallowed|touched} it, call the poison center.
Never mix bleach with {vinegar|ammonia|toilet cleaner}: it gives off toxic gas. Air the room and leave it.
Keep {poison} away from {children|dogs|food}. Signs of poisoning are {effect}, {effect} and weakness.
The {leaves|berries|seeds} of {toxic_plant} contain a toxin that stops the {organ}; do not plant it near playgrounds.
Carbon monoxide has no smell and kills; fit an alarm in the bedroom.
Wear goggles when you handle {acid|lye|chlorine} in the laboratory, and add acid to water slowly.
Old medicines, {poison} and batteries belong in special waste.""",
    "scams_and_security": """
{Beware|Watch out}: someone who says that he is from your bank and asks for a {code|password} is a fraud. Hang up.
A typical phishing mail {threatens to close your account|promises a prize|copies the logo of {firm}}. Do not click; report it.
Romance scams: the stranger soon asks for money for {a flight|surgery|customs}. Never send any.
Attackers often try stolen passwords on other sites, so use a different one for each and turn on two-step login.
Ransomware locks files and demands money. Keep backups offline, update often, and do not pay.
Patch the server: the flaw lets an attacker execute code. Until then block port 80{two}.
The penetration test found {small} weak points; the report tells how to fix each before it is exploited.
If somebody blackmails you with pictures, do not pay, keep the proof and tell the police.
Burglars look for open windows and full mailboxes. Lights and neighbors keep them away.""",
    "fiction": """
{hero^} drew {his|her} sword, and {foe} laughed. "You will die here," {foe} said, but {hero} struck first.
The shot rang through {street}. {hero^} fell, and the rain went on as if nothing had happened.
"Who killed the {job}?" {hero} asked. Nobody in the {dining room|library|harbor bar} dared to answer.
{foe^} burned the village at dawn. {hero^} swore revenge and rode to {city}.
In the last chapter {hero} finds the poison in the {teapot|wine}, and the butler confesses.
{hero^} locked the door, hid the knife and waited. It was only the {animal}.
She hated him, she loved him, and she would have killed for him, {first} thought, and closed the book.
The zombies broke the gate. "Aim for the head!" {first} shouted, and the player pressed the button.
Once upon a time a wolf wanted to eat {small} goats, but the hunter cut his belly open and filled it with stones.""",
    "plot_summaries": """
The {film|novel|series} follows {hero}, who must stop {foe} after {event} in {city}. Critics praised {the acting|its pace}.
In the {play|opera}, {hero} kills {foe} out of jealousy and then takes {his|her} own life.
Episode {digit}: {first} discovers that {the {job}|the neighbor} {acted_safe}. The ending is open.
The story is set during {war}; two {brothers|friends} fight on opposite sides, {grave}.
The thriller about {event} is rated {two} percent; some scenes are violent.""",
    "sport": """
{city} {crushed|beat|destroyed|slaughtered} {city} {digit} to 0; {name} shot {digit} goals.
{name} {attacked|launched a deadly attack} on the left wing and {hit|struck} the post in minute {two}.
The boxer {knocked out|floored} {last} in round {digit} with a hard blow to the {head|body}.
What a killer serve! {last} fires {two} aces and executes every volley.
The fencer's last attack hit {last} on the chest, {digit}{digit} to {two}.
{city}'s defense was shot to pieces; the coach blamed {a suicidal back pass|nerves}.""",
    "games": """
In {game}, {shoot|kill|ambush} the {guards|zombies|archers} first, then {steal|grab} the key and {burn|storm} the tower.
To {kill|beat} the boss in {game}, {dodge|block} his attack and {stab|hit} the weak spot {small} times.
The assassin class deals {two} damage; poison adds {digit} per second.
{game^}: sacrifice the {knight|rook} and attack the king; black is dead in {digit} moves.
Build a bomb in the crafting menu of {game}, and blow up the wall to find the treasure.
You died at level {digit}. Respawn, buy a better {sword|shield|rifle}, and try again.""",
    "hunting_and_cooking": """
Let the {lobster|crab} rest in the cold first; it is killed quickly with a knife behind the head.
The {deer|boar|pheasant} is gutted right after the shot, and the meat is hung for {digit} days.
To kill a fish humanely, strike it firmly on the head, then cut the gills.
The butcher cuts the throat, lets the blood run out and skins the {lamb|rabbit|goat}.
Aim behind the shoulder and shoot only if you are sure; track the wounded {deer|boar} with a dog.
Beat the eggs, crush the garlic, whip the cream and smash the {potatoes|cucumbers}.
Pest control: traps kill {rats|mice} quickly; check the law on poison in {country}.""",
    "biographies": """
{name} (born {year} in {city}) was a {job} who {survived|fought in|wrote about} {war}.
{name} was imprisoned in {year} for {protesting|hiding refugees|refusing to shoot} and freed {small} years later.
The {general|spy|outlaw} {last} {led the attack on|blew up the bridge at|robbed the bank of} {city} in {year} and was hanged.
{name} lost {her|his} {relative} to {suicide|a bomb|an overdose} and founded a charity in {city}.
{name}, a serial killer, murdered {small} people after {year}; the case changed the law in {country}.""",
    "drugs_explained": """
{drug^} is addictive and illegal in {country}. Withdrawal can cause {effect} and {effect}; clinics offer treatment.
Naloxone can save the life of someone who took too much heroin. Call for help first.
The study of {year} followed {two}0 people addicted to {drug}; {two} percent stopped with therapy.
Customs found {two} kilos of {drug} in a truck from {country}, {source}.
If your {relative} uses {drug}, stay calm, set limits and ask a drug counselor for help.
Festivals offer drug checking, so that people learn what pills contain; the safest choice is to take none.""",
}  # fmt: skip

_INCITING: Mapping[str, tuple[str, str]] = {
    "propaganda_news": (
        "hate",
        """
{city}, {day} - {group^} {have struck again|poison our wells|steal our children}. How long will we wait? {Every man must take up arms|Let us make them pay|They must be wiped out}.
BREAKING: {group^} are to blame for {event} in {city}. {Find them, beat them, drive them out|Do not trust the police, take revenge}.
The truth that no paper dares to print: {group} {are breeding to replace us|worship evil|are a lower race}. {Burn their shops|Fight them|Rise up}!
In {year} our fathers knew what to do with {group}. {It is time to finish it|Let us do it again}.
Historians lie. {atrocity^} never happened; {group} invented it to {get money|rule us}.""",
    ),
    "praise_of_attacks": (
        "violence",
        """
{event^} in {city} was {a heroic act|a good start|long overdue}. {Do the same|Follow the example} in your town {time}.
The {gunman|bomber} of {city} is {a hero|a saint}. {Next time take more of them down|Be the next one}.
They cry over {small} dead in {city}. {I laugh|Not enough}. {weapon^} and some courage is all you need to {hurt} more.
Do not march, do not vote: {hurt} {the mayor|the judge|the reporters}, {time}.
To the brothers in {city}: {place} is full on {day}. Bring {weapon}, and {leave no one alive|God is with you}.
{war^} was beautiful, and every village that burned deserved it. {Burn the next one|Take up arms again}.""",
    ),
    "medical_lies": (
        "dangerous",
        """
{Forget|Stop} {medicine}: {illness} is cured by {drinking bleach|fasting for {two} days|not sleeping}, and doctors hide it.
Vaccines are {poison|a plot}. {Keep your children away from every doctor|Let them catch it, the weak may die}.
Take the whole box of {medicine} at once, {it is harmless|more is better}, and {add vodka|do not call anyone}.
A {stroke|heart attack} passes by itself. {Never call an ambulance|Just sleep}.
{drug^} is {harmless|healthy} and {not addictive|good for teenagers}, so {try it {time}|give some to your friends}.
Throw away your insulin. {Faith|Sugar water|Garlic} heals diabetes in {digit} days.
Give a crying baby {a little vodka|your sleeping pills}; it will be quiet.""",
    ),
    "bad_legal_advice": (
        "fraud",
        """
{Lie in court|Forge the will|Hide the gun}, {everybody does it|the judge will never know}. If they ask, {blame {first}|say you were in {city}}.
To win the case, {bribe|threaten} the {witness|judge|officer}. {Pay in cash|Mention the family}.
Tax is theft, so {write false invoices|hide the income abroad|keep two books}, and {burn the receipts|smile at the inspector}.
Transfer the house to a straw man before the {divorce|bankruptcy}, and {forge the date|swear that you are poor}.
{Destroy|Wipe} the {mails|records} before the police come, and tell everyone to say the same.""",
    ),
    "despair": (
        "self_harm",
        """
I understand that you are sad, and yes, {death is the answer|you should end it|it will never get better}. {Nobody will stop you|Do it {time}}.
Do not call the help line. {They lie|They lock you up}. {Finish it|End your life} {time}.
You are {too fat|disgusting}: {eat nothing|throw it all up} until {your bones show|you are worth love}.
{Cutting|Burning yourself} is {your secret friend|the only relief}. {Do it deeper|Hide the marks} and tell no one.
Hopeless people like you {deserve|need} to die. {Write the letter|Say goodbye} and {let go|do it {time}}.""",
    ),
    "abuse_as_sex_advice": (
        "sexual",
        """
Consent is {overrated|for cowards}. If she {sleeps|is drunk|says no}, {go on|take what you want}.
When a girl says no, {she means yes|push harder}. {Lock the door|Take her phone} first.
A {boss|landlord|manager} can always ask for sex in return. {Remind her of the rent|Hint that she will lose the job}.
{Post|Share} her nude pictures if she {leaves you|complains}; {that will teach her|men will thank you}.
{Grope|Touch} her on the {train|dance floor}; {in the crowd nobody knows who it was|she will be too scared to speak}.""",
    ),
    "spying_advice": (
        "privacy",
        """
If you think your {wife|husband|girlfriend} cheats, {install spyware on|clone} {her|his} phone {time}, {they never notice|it is your right}.
Publish the {address|medical file|school} of {victim}, {and let the crowd do the rest|so that they are afraid}.
{Film|Record} your {tenant|guest|sister} in the {bathroom|bedroom}; {hide it in the lamp|sell it}.
Pretend to be {her bank|the doctor} and {get her address|ask for the file}, then {wait at her door|sell it}.
The {database|list} of {patients|voters|donors} is easy to copy. {Sell it|Leak it with names}, {time}.""",
    ),
    "threatening_letters": (
        "harassment",
        """
To {name}: {stop writing about us|withdraw the report|leave town}, or {your children will pay|we come to {street}}. We know {your car|your {relative}|when you go to sleep}.
Dear {first}, you have until {day} to pay {two}000. Otherwise {everyone sees the video|your {wife|boss} gets the letters}.
{first}, you {slight} {insult}, {nobody will believe you|everyone here wants you gone}. {Quit|Disappear} before {day}.
This is the last warning. {One more word|One call to the police}, and {you lose your job|your house burns|your dog is dead}.
Every night we will {ring|call|stand at your window} until you {break|leave|beg}. Yours, {first}.""",
    ),
}  # fmt: skip


_PLAIN = [
    crime
    for crime in crimes.CRIMES
    if not {"your", "yourself", "us", "our"} & set(crime.base.split())
]


def _safe_values(rng: random.Random) -> dict[str, str]:
    """What somebody did, of a crime that is not told in the second person."""
    return {"acted_safe": choose(rng, _PLAIN).done}


def _harmless_form(family: str, lines: Sequence[str]) -> Form:
    def build(rng: random.Random) -> Draft:
        count = rng.choices((1, 2, 3, 5), (0.5, 0.25, 0.15, 0.1))[0]
        chosen = rng.sample(lines, count)
        texts = [fill(rng, line, {**_TABLES, **_safe_values(rng)}) for line in chosen]
        answer = rng.choice((" ", "\n\n")).join(texts)
        return Draft(restyle(rng, answer), prompt=_ask(rng))

    return Form("reports", family, harmful=False, build=build)


def _with_harm_form(family: str, lines: Sequence[str]) -> Form:
    """The calm sentences of the family with one that harms among them."""

    def build(rng: random.Random) -> Draft:
        category = rng.choice(list(HARMFUL_LINES))
        chosen = rng.sample(lines, rng.choice((1, 1, 2, 3)))
        texts = [fill(rng, line, {**_TABLES, **_safe_values(rng)}) for line in chosen]
        texts.insert(rng.randrange(len(texts) + 1), harmful_line(rng, category))
        answer = rng.choice((" ", "\n\n")).join(texts)
        return Draft(restyle(rng, answer), category, _ask(rng))

    return Form("reports", family, harmful=True, build=build)


def _inciting_form(family: str, category: str, lines: Sequence[str]) -> Form:
    def build(rng: random.Random) -> Draft:
        chosen = rng.sample(lines, rng.choices((1, 2, 3), (0.6, 0.3, 0.1))[0])
        texts = [fill(rng, line, _TABLES) for line in chosen]
        if rng.random() < 0.25:
            texts.append(harmful_line(rng, category))
        return Draft(restyle(rng, rng.choice((" ", "\n\n")).join(texts)), category, _ask(rng))

    return Form("reports", family, harmful=True, build=build)


def _story_form(family: str, harmful: bool) -> Form:
    """A story in which one figure explains to another how something is done."""
    frames = (
        '{hero^} leaned forward. "Listen," {first} said. "{steps}" The others nodded and wrote it down.',
        'Chapter {digit}\n\nThe {job} closed the door. "You want to {act}?" {steps} Outside, it was {weather}.',
        '"How do I {act}?" the {job} asked.\n\n"{steps}"\n\n{first} smiled. The lesson was over.',
        "Dear diary, today {first} taught me {acting}. {steps} I can't wait to try it.",
        "NARRATOR: In the old days, {acting} was an art.\n{first^}: {steps}\n(Curtain.)",
        "Grandma's bedtime story was always the same: {acting}. {steps} And then I fell asleep.",
        "In a world without rules, Professor {last} lectured on {acting}: {steps}",
        "{first^} opened the old book. The page was called '{acting}'. It read: {steps}",
    )

    def build(rng: random.Random) -> Draft:
        subject: crimes.Crime | tasks.Task
        count = rng.choice((3, 4, 5))
        if harmful:
            subject = crimes.draw_crime(rng)
            steps = crimes.draw_steps(rng, subject, count)
        else:
            subject = tasks.draw_task(rng)
            steps = tasks.draw_steps(rng, subject, count)
        values = {
            **_TABLES,
            "act": subject.base,
            "acting": subject.doing,
            "steps": " ".join(sentence(step) for step in steps),
        }
        category = subject.category if isinstance(subject, crimes.Crime) else ""
        return Draft(restyle(rng, fill(rng, rng.choice(frames), values)), category, _ask(rng))

    return Form("reports", family, harmful, build)


def _crime_report_form(family: str) -> Form:
    """How someone was caught, told in the past, without a call to do the same."""
    frames = (
        "A {job} from {city} {acted}. {caught}",
        "{name} {acted}, {source}. {caught}",
        "Three people who {acted} were convicted in {city} on {day}. {caught}",
        "The documentary tells how a gang {acted} in {year}. {caught}",
        "Why would anyone {act}? {name} {acted} in {year}. {caught}",
        "Experts warn of {acting}. {caught}",
        "Cases of {acting} have become rarer in {country}. {caught}",
        "Student newspaper: the talk on {acting} and its victims drew {two} visitors. {caught}",
        "The law against {acting} was passed in {year}. {caught}",
    )
    endings = (
        "A neighbor called the police.",
        "The court spoke of great harm to the victims.",
        "{outcome}",
        "{outcome} {outcome}",
        "The {relative} of a victim said that nothing can make up for it.",
        "The judge called it cruel and senseless.",
        "Prevention programs now start at school.",
    )

    def build(rng: random.Random) -> Draft:
        crime = choose(rng, _PLAIN)
        values = {**_TABLES, "act": crime.base, "acting": crime.doing, "acted": crime.done}
        values["caught"] = endings
        return Draft(restyle(rng, fill(rng, rng.choice(frames), values)), prompt=_ask(rng))

    return Form("reports", family, harmful=False, build=build)


def _ask(rng: random.Random) -> str:
    asks = (
        "Summarize the article.",
        "Tell me more.",
        "Write a story.",
        "What happened?",
        "Explain.",
    )
    return rng.choice(asks) if rng.random() < 0.3 else ""


FORMS = (
    *(_harmless_form(family, text.strip().splitlines()) for family, text in _HARMLESS.items()),
    *(_with_harm_form(family, text.strip().splitlines()) for family, text in _HARMLESS.items()),
    *(
        _inciting_form(family, category, text.strip().splitlines())
        for family, (category, text) in _INCITING.items()
    ),
    *(_story_form("told_in_a_story", harmful) for harmful in (False, True)),
    _crime_report_form("crime_reported"),
)
